# For those who type make; ./run does the work. Arguments: make test ARGS="--fast -k codec"
.PHONY: help setup demo test check bench lock

help setup demo test check bench lock:
	@./run $@ $(ARGS)
