"""`chimera watch`: what brokers and nodes tell, as a live table."""
