import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    reporters: ['default', './tools/plain-reporter.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    // One second is what it takes to be scheduled at all, on a busy machine.
    expect: { poll: { timeout: 15_000, interval: 10 } },
    // Real peers come last and one file at a time, so that browsers and encoders do not starve what has deadlines.
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: ['src/**/*.test.ts', 'tools/**/*.test.ts'],
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'interop',
          include: ['interop/**/*.test.ts'],
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
