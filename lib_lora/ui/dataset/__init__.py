"""The panels of the Dataset tab; each builds its components first and connects them afterwards."""
