import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    reporters: ['default', './tools/plain-reporter.ts'],
    // Tests wait for what they wait for at most 15 s; the rest is for work, on a slow machine that does other things too.
    testTimeout: 60_000,
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
