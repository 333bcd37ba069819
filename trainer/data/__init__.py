"""A job's data: loaded, divided into training and validation audio, and packed for the device."""
