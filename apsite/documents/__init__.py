"""Documents on disk: strict JSON, schemas, references, and what changed when."""
