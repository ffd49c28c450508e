"""What holds a process: the system calls for it, and how they are put together (`jail`)."""
