"""One peer: host, coordinator, worker, execution, storage, control API.

Importing this package stays cheap: the command line asks a running peer without loading libp2p.
"""
