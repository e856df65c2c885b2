"""What a pod belongs to: by the labels that its controller has written, else by the form of its name.

Kubernetes keeps the owner of a pod in its API server, which is not asked: a DaemonSet would need a token and
RBAC for it, and each node's agent would ask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# Generated names: k8s.io/apimachinery/pkg/util/rand draws from these letters, so that "-redis" is never taken
# for a suffix.
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
_OF_DEPLOYMENT = re.compile(rf"(.+)-{_RANDOM}{{6,10}}-{_RANDOM}{{5}}")
_GENERATED = re.compile(rf"(.+)-{_RANDOM}{{5}}")  # DaemonSet, ReplicaSet, Job
_NUMBERED = re.compile(r"(.+)-\d+")  # StatefulSet
_SCHEDULED = re.compile(r"(.+)-\d{8,}")  # a CronJob's Job: the minute since 1970


class Owner(NamedTuple):
    """What a pod belongs to. The name alone is known where the form of the pod's name tells no kind."""

    kind: str = ""
    """deployment, statefulset, daemonset or job, as in `k8s.KIND.name`."""
    name: str = ""
    cronjob: str = ""
    """What a job belongs to."""

    @property
    def workload(self) -> str:
        """The name that stays the same from pod to pod, and from one run of a job to the next."""
        return self.cronjob or self.name


def owner_of(pod: str, labels: Mapping[str, str]) -> Owner:
    """By a pod's name, and its labels where they are known."""
    revision = labels.get("pod-template-hash", "")
    if revision and f"-{revision}-" in pod:
        return Owner("deployment", pod.rpartition(f"-{revision}-")[0])
    if "statefulset.kubernetes.io/pod-name" in labels and (match := _NUMBERED.fullmatch(pod)):
        return Owner("statefulset", match[1])
    job = labels.get("batch.kubernetes.io/job-name") or labels.get("job-name", "")
    if job and pod.startswith(f"{job}-"):
        return _job(job)
    if match := _OF_DEPLOYMENT.fullmatch(pod):
        return Owner("deployment", match[1])
    if match := _GENERATED.fullmatch(pod):
        if "controller-revision-hash" in labels:
            return Owner("daemonset", match[1])
        if _SCHEDULED.fullmatch(match[1]):
            return _job(match[1])
        return Owner("", match[1])
    if match := _NUMBERED.fullmatch(pod):
        return Owner("", match[1])
    return Owner("", pod)


def _job(name: str) -> Owner:
    match = _SCHEDULED.fullmatch(name)
    return Owner("job", name, match[1] if match else "")
