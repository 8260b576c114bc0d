"""What SRFlow's programs are built from: options, configuration files, adapters to where they run."""
