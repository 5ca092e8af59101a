"""What runs inside the sandbox, one file for each runtime: `load(job)` gives the function that runs an item."""
