import { describe, expect, it } from 'vitest'
import { type Lifecycle, LifecycleStack } from './lifecycle.ts'

function recorder(name: string, calls: string[], failing?: 'start' | 'close'): Lifecycle {
  const record = async (action: 'start' | 'close') => {
    calls.push(`${action} ${name}`)
    if (failing === action) throw new Error(`${name} cannot ${action}`)
  }
  return { start: () => record('start'), close: () => record('close') }
}

describe('LifecycleStack', () => {
  it('starts in order and closes in reverse, once', async () => {
    const calls: string[] = []
    const stack = new LifecycleStack()
    stack.add(recorder('a', calls))
    stack.add(recorder('b', calls))
    await stack.start()
    await stack.start()
    await stack.close()
    await stack.close()
    expect(calls).toEqual(['start a', 'start b', 'close b', 'close a'])
  })

  it('closes what had started when one fails to start', async () => {
    const calls: string[] = []
    const stack = new LifecycleStack()
    stack.add(recorder('a', calls))
    stack.add(recorder('b', calls, 'start'))
    stack.add(recorder('c', calls))
    await expect(stack.start()).rejects.toThrow('b cannot start')
    expect(calls).toEqual(['start a', 'start b', 'close a'])
  })

  it('closes the others when one fails to close', async () => {
    const calls: string[] = []
    const stack = new LifecycleStack()
    stack.add(recorder('a', calls))
    stack.add(recorder('b', calls, 'close'))
    await stack.start()
    await expect(stack.close()).rejects.toThrow('failed to close')
    expect(calls).toEqual(['start a', 'start b', 'close b', 'close a'])
  })
})
