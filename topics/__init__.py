"""Where it is said: the topic catalogue, headers, record codecs, administration, transactions."""
