"""What starts runs by itself. So far: the trigger types that workers provide."""
