import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { resolveValueSource } from './value-source.ts'

const folder = mkdtempSync(join(tmpdir(), 'value-source-'))
afterAll(() => rmSync(folder, { recursive: true }))

describe('a value source', () => {
  it('file: gives the content, trimmed', async () => {
    const path = join(folder, 'token')
    writeFileSync(path, '  \n s3cret value\r\n\n')
    expect(await resolveValueSource({ type: 'file', file: { path } })).toBe('s3cret value')
  })

  it('file: says which cannot be read', async () => {
    const path = join(folder, 'nowhere')
    await expect(resolveValueSource({ type: 'file', file: { path } })).rejects.toMatchObject({
      code: 'TUNNEL_BAD_OPTION',
      message: `failed to read file ${path}: ENOENT`,
    })
  })

  it.each([
    ['too long', () => 'x'.repeat(11)],
    ['endless', () => undefined],
  ])('file: one that is %s is an error', async (_, content) => {
    const text = content()
    const path = text === undefined ? '/dev/zero' : join(folder, 'long')
    if (text !== undefined) writeFileSync(path, text)
    await expect(resolveValueSource({ type: 'file', file: { path } }, { maxBytes: 10 })).rejects.toThrow(
      `file ${path} has more than 10 bytes`,
    )
  })

  it('exec: gives what the program writes, trimmed; its environment is ours and its own', async () => {
    const source = exec('process.stdout.write(` ${process.env.ONE}${process.env.PATH.length > 0} \\n`)', [
      { name: 'ONE', value: '1' },
    ])
    expect(await resolveValueSource(source)).toBe('1true')
  })

  it.each([
    ['fails', 'console.error("s3cret"); process.exit(3)', 'exit status 3', {}],
    [
      'writes too much',
      'process.stdout.write("s3cret".repeat(1e6))',
      'ERR_CHILD_PROCESS_STDIO_MAXBUFFER',
      {},
    ],
    ['does not end', 'setInterval(() => {}, 1000)', 'no end within 500 ms', { timeoutMs: 500 }],
  ])(
    'exec: a program that %s is an error, which tells nothing of its output',
    async (_, script, reason, options) => {
      await expect(resolveValueSource(exec(script), options)).rejects.toMatchObject({
        code: 'TUNNEL_BAD_OPTION',
        message: `failed to execute command ${process.execPath}: ${reason}`,
      })
    },
  )

  it('exec: what a killed program leaves behind is not waited for', async () => {
    // It holds the output open until the test is over.
    const args = ['-c', `while [ -d '${folder}' ]; do sleep 0.1; done & echo begun; wait`]
    const source = { type: 'exec', exec: { command: '/bin/sh', args, env: [] } } as const
    await expect(resolveValueSource(source, { timeoutMs: 200 })).rejects.toThrow('no end within 200 ms')
  })

  it('exec: says which program is not there', async () => {
    const source = { type: 'exec', exec: { command: join(folder, 'no'), args: [], env: [] } } as const
    await expect(resolveValueSource(source)).rejects.toThrow(/no: ENOENT$/)
  })
})

function exec(
  script: string,
  env: readonly { readonly name: string; readonly value: string }[] = [],
): Parameters<typeof resolveValueSource>[0] {
  return { type: 'exec', exec: { command: process.execPath, args: ['-e', script], env } }
}
