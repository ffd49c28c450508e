"""How people see a run: in the terminal (`show`) and as one page (`write_report`)."""
