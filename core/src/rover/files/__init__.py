"""Files and pipes read on as chunks of bytes, for sources that read files."""
