"""The tabs: gradio components on the left, services of the workbench on the right, nothing in between."""
