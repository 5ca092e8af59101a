"""The demonstration: peers as processes on this machine, one of which lies, and a real job."""
