"""What the data plane needs of the loop and of sockets: deadlines, pools, RST and its kin."""
