"""Training: triggers become jobs, jobs become runs in processes of their own, runs become versions."""
