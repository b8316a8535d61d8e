"""What is installed, as data; plugins found, and loaded behind guards."""
