// Imported into a gateway that runs with --expose-gc: SIGUSR2 collects all garbage, so that the heap shows what is held.
process.on('SIGUSR2', () => globalThis.gc())
