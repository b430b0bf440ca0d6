"""Models: `attention_lstm` (one fold, the export form), `fold_bank` (F folds trained at once),
`ensemble` (seeds that answer as one)."""
