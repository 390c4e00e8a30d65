import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { requireAddon } from './addon.testkit.ts'

const child = fileURLToPath(new URL('./native-child.testkit.ts', import.meta.url))

interface End {
  readonly code: number | null
  readonly signal: string | null
  readonly output: string
  readonly errors: string
}

/** Lets a process run a scenario of `native-child.testkit.ts` to its end, which has to come by itself. */
async function run(scenario: string, limits = ''): Promise<End> {
  const command = `${limits} exec "$0" --import tsx "$1" "$2"`
  const program = spawn('sh', ['-c', command, process.execPath, child, scenario])
  const timer = setTimeout(() => program.kill('SIGKILL'), 15_000)
  const [output, errors, [code, signal]] = await Promise.all([
    text(program.stdout),
    text(program.stderr),
    once(program, 'close') as Promise<[number | null, string | null]>,
  ])
  clearTimeout(timer)
  return { code, signal, output, errors }
}

requireAddon()

describe.concurrent('a process with the native engine', () => {
  it.each(['unclosed', 'unclosed and idle'])('ends although its engine is %s', async (scenario) => {
    expect(await run(scenario)).toEqual({ code: 0, signal: null, output: '', errors: '' })
  })

  it.each(['exit under traffic', 'exit in a receiver'])('can %s', async (scenario) => {
    expect(await run(scenario)).toEqual({ code: 7, signal: null, output: '', errors: '' })
  })

  it('can close it under traffic', async () => {
    expect(await run('close under traffic')).toEqual({
      code: 0,
      signal: null,
      output: 'closed\n',
      errors: '',
    })
  })

  it.each(['panic', 'panic while arrivals wait'])(
    'ends with a clear message when a thread dies: %s',
    async (scenario) => {
      const { code, errors } = await run(scenario)
      expect(errors).toContain('a thread of the native engine has ended: told to panic, by a test')
      expect(errors).toContain('DATAPATH_ENGINE_DIED')
      expect(code).toBe(1)
    },
  )

  it('goes on when a thread dies and somebody wants to know, once', async () => {
    const { code, output } = await run('panic with onDeath')
    expect({ code, output }).toEqual({ code: 0, output: '1 DATAPATH_ENGINE_DIED 0\n' })
  })

  it('that has no descriptors left is told so, and loses none', async () => {
    const { code, output, errors } = await run('no descriptors left', 'ulimit -n 120;')
    expect({ code, output, errors }).toEqual({
      code: 0,
      output: 'DATAPATH_SYSTEM after some: true\ntrue\n',
      errors: '',
    })
  })

  it('has engines in worker threads that end under traffic, die, and leave', async () => {
    const { code, output } = await run('workers')
    expect({ code, output }).toEqual({ code: 0, output: 'DATAPATH_ENGINE_DIED\n' })
  })
})
