"""Results as standard DICOM objects, in and out of a PACS: receiver, queue, DICOMweb."""
