import { describe, expect, test } from 'vitest'
import { endpointAddresses, hostOf } from './wildcard.ts'

describe('the address of a listener', () => {
  test.each(['', '0.0.0.0', '::'])('%j means every address', async (address) => {
    expect(hostOf(address)).toEqual({})
    expect(await endpointAddresses(address)).toEqual(['0.0.0.0', '::'])
  })

  test('others mean themselves', async () => {
    expect(hostOf('127.0.0.1')).toEqual({ host: '127.0.0.1' })
    expect(await endpointAddresses('::1')).toEqual(['::1'])
  })

  test('a name is looked up', async () => {
    expect(['127.0.0.1', '::1']).toContain((await endpointAddresses('localhost'))[0])
  })
})
