"""What the process tests share: processes, HTTP, live streams, and waiting."""
