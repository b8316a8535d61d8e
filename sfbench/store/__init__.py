"""What is kept on disk: records, pictures, training runs, and the one way to write a file whole."""
