"""What programs build on a database: frameworks, queues, stores. Each is imported by itself."""
