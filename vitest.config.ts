import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'tools/**/*.test.ts', 'interop/**/*.test.ts'],
    reporters: ['default', './tools/plain-reporter.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
})
