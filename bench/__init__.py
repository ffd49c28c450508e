"""Speed, memory and fault tolerance of evollab, measured beside a floor and beside its peers."""
