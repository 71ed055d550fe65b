"""The virtual plant: true devices, meters and registers, in a process and on a clock of its own."""
