import fc from 'fast-check'
import { it } from 'vitest'
import { conversations, converse, type Subject } from './differential.testkit.ts'
import { requireAddon } from './engine-native/addon.testkit.ts'
import { NativeDatapath } from './engine-native/native-datapath.ts'
import { NodeDatapath } from './engine-node/node-datapath.ts'

/**
 * More of them: `SLUICE_DIFFERENTIAL_RUNS=2000 SLUICE_DIFFERENTIAL_SEED=1 npx vitest run differential`. To have one that fails made
 * shorter, which takes minutes: `SLUICE_DIFFERENTIAL_SHRINK=1`.
 */
const numRuns = Number(process.env['SLUICE_DIFFERENTIAL_RUNS'] ?? 60)
const seed = Number(process.env['SLUICE_DIFFERENTIAL_SEED'] ?? Date.now() % 1e9)

const addon = requireAddon()

it(
  'both engines do the same with the same conversation, datagram by datagram',
  async () => {
    const subjects: readonly Subject[] = [
      { name: 'node', create: (options) => new NodeDatapath(options) },
      { name: 'native', create: (options) => new NativeDatapath(addon, options) },
      {
        name: 'native, 3 threads',
        create: (options) => new NativeDatapath(addon, { ...options, threads: 3 }),
      },
    ]
    await fc.assert(
      fc.asyncProperty(conversations(100), async (steps) => {
        await converse(addon, subjects, steps)
      }),
      { numRuns, seed, endOnFailure: process.env['SLUICE_DIFFERENTIAL_SHRINK'] === undefined },
    )
  },
  numRuns * 4000 + 60_000,
)
