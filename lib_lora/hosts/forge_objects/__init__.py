"""What Forge and its relatives share: ``sd_model.forge_objects``, moved about by a memory manager."""
