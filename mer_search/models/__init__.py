"""Models, by name in `catalogue`: `attention_lstm` (one fold, the export form) and `fold_bank` (F
folds trained at once), `rivals` (each a `head` that `stacked` trains F at once), `ensemble`."""
