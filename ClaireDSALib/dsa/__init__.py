"""Data and image physics of one angiographic run: numpy, pydicom, SimpleITK and scikit-image, no torch."""
