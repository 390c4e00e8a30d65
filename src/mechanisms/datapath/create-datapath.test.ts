import { expect, it } from 'vitest'
import { createDatapath } from './create-datapath.ts'

it.each([undefined, 'auto', 'node'] as const)('makes engine-node for %s', (engine) => {
  expect(createDatapath(engine === undefined ? {} : { engine }).engine).toBe('node')
})

it('says that there is no native engine in this build', () => {
  expect(() => createDatapath({ engine: 'native' })).toThrow(
    expect.objectContaining({ code: 'DATAPATH_ENGINE_UNAVAILABLE' }),
  )
})
