"""The dashboard of packaging/grafana, taken apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GRAFANA = Path(__file__).parent.parent / "packaging/grafana"
DASHBOARD: dict[str, Any] = json.loads((GRAFANA / "dashboard.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS: list[str] = [target["expr"] for panel in PANELS for target in panel["targets"]]
VARIABLES: dict[str, dict[str, Any]] = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
QUERIES = [*EXPRESSIONS, *(v["query"]["query"] for v in VARIABLES.values() if v["type"] == "query")]
"""All that Prometheus is asked."""
