import { expect, it, vi } from 'vitest'
import { createDatapath } from './create-datapath.ts'
import type { LoadedAddon } from './engine-native/addon.ts'

const broken = (): LoadedAddon => ({ reason: 'it is broken' })

it('makes engine-native where the addon loads', () => {
  expect(createDatapath().engine).toBe('native')
  expect(createDatapath({ engine: 'native', threads: 2 }).engine).toBe('native')
})

it('makes engine-node when asked, and for "auto" without the addon, saying why', () => {
  const onFallback = vi.fn<(reason: string) => void>()
  expect(createDatapath({ engine: 'node', onFallback }).engine).toBe('node')
  expect(onFallback).not.toHaveBeenCalled()
  expect(createDatapath({ loadAddon: broken, onFallback }).engine).toBe('node')
  expect(onFallback.mock.calls).toEqual([['it is broken']])
})

it.each([
  [{ engine: 'native', loadAddon: broken }, 'DATAPATH_ENGINE_UNAVAILABLE', 'it is broken'],
  [{ engine: 'node', threads: 2 }, 'DATAPATH_INVALID', 'threads 2'],
  [{ engine: 'native', threads: 0 }, 'DATAPATH_INVALID', 'threads 0'],
  [{ engine: 'native', threads: 65 }, 'DATAPATH_INVALID', 'threads 65'],
] as const)('refuses %j', (options, code, message) => {
  expect(() => createDatapath(options)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  )
})
