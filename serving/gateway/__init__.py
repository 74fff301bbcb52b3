"""What stands between clients and engines: keys, limits, fairness, OpenAI's routes, and what is written down of it all."""
