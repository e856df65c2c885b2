"""What is installed: found, checked, called, and its failures counted."""
