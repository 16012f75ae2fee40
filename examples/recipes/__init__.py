"""jaxinit beside what a training script uses: each file a whole, small script."""
