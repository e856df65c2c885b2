"""From records to access logs."""
