"""History once more: the whole organisation in virtual time, its decisions those that it would have taken."""
