"""The offline evaluator: loads a checkpoint, audits and attacks it, writes a record. The only part that needs torch."""
