"""One file per rival of the attention-LSTM, each a `Head`, with the layers only they use."""
