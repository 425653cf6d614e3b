"""What pages show as tables and sentences: pure functions of the catalogue, the schemas and the source."""
