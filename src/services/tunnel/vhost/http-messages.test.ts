import { createServer } from 'node:http'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../../foundation/clock.ts'
import { silentLogger } from '../../../mechanisms/telemetry/index.ts'
import { HttpVhost } from './http-vhost.ts'
import { get, noRules, ok, pickerOf, RawUser, routeTo, Service, until } from './vhost.testkit.ts'

let clock: ManualClock
let vhost: HttpVhost

beforeEach(async () => {
  clock = new ManualClock()
  vhost = new HttpVhost({ listen: { host: '127.0.0.1', port: 0 }, logger: silentLogger(), clock })
  await vhost.start()
})
afterEach(async () => {
  await vhost.close()
  await until(() => clock.pending === 0)
})

function publish(...members: readonly Service[]): void {
  vhost.add(routeTo('a', pickerOf(...members)), noRules)
}

const post = (headers: string, body = ''): string => `POST / HTTP/1.1\r\nHost: a\r\n${headers}\r\n${body}`

describe('HttpVhost passes on', () => {
  it('a chunked request with its trailers, as it comes', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('X-T: 1\r\n\r\n')) socket.write(ok('hi'))
    })
    publish(service)
    using user = await RawUser.say(
      vhost.port,
      post('Transfer-Encoding: chunked\r\nTrailer: X-T\r\n', '3\r\nabc\r\n'),
    )
    await until(() => service.heard[0]?.endsWith('3\r\nabc\r\n') === true)
    user.say('0\r\nX-T: 1\r\n\r\n')
    await user.hears('hi')
    expect(service.heard[0]).toMatch(/Transfer-Encoding: chunked\r\nTrailer: X-T\r\n/)
  })

  it('a chunked answer with its trailers, as it comes', async () => {
    await using service = await Service.start((socket) => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n')
    })
    publish(service)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    await user.hears('2\r\nok\r\n')
    service.sockets[0]?.write('0\r\nX-T: 1\r\n\r\n')
    expect(await user.hears('0\r\nX-T: 1\r\n\r\n')).toMatch(/Trailer: X-T\r\n/)
  })

  it('an answer that ends with its connection, also to HTTP/1.0', async () => {
    await using service = await Service.start((socket) => socket.end('HTTP/1.0 200 OK\r\n\r\nto the end'))
    publish(service)
    using user = await RawUser.say(vhost.port, 'GET / HTTP/1.0\r\nHost: a\r\n\r\n')
    expect(await user.ends()).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*\r\n\r\nto the end$/)
    using newer = await RawUser.say(vhost.port, get('/', 'a'))
    expect(await newer.hears('0\r\n\r\n')).toMatch(
      /Transfer-Encoding: chunked\r\n[^]*a\r\nto the end\r\n0\r\n\r\n$/,
    )
  })

  it('answers without a body to HEAD, 204 and 304, and the connection lives on', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n',
      'HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n',
      'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n',
      ok('the end'),
    ]
    await using service = await Service.start((socket) => socket.write(answers.shift() ?? ''))
    publish(service)
    using user = await RawUser.say(vhost.port, 'HEAD / HTTP/1.1\r\nHost: a\r\n\r\n')
    await user.hears(/Content-Length: 500\r\n[^]*\r\n\r\n$/)
    user.say(get('/', 'a'))
    expect(await user.hears(/204 [^]*\r\n\r\n$/)).not.toContain('Content-Length: 0')
    user.say(get('/', 'a'))
    await user.hears(/304 [^]*ETag: "x"\r\n[^]*\r\n\r\n$/)
    user.say(get('/', 'a'))
    await user.hears('the end')
    expect(service.sockets).toHaveLength(1)
  })

  it('early hints', async () => {
    await using service = await Service.start((socket) => {
      socket.write(
        'HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nLink: </b>; rel=preload\r\n\r\n',
      )
    })
    publish(service)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    expect(await user.hears('\r\n\r\n')).toMatch(
      /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload, <\/b>/,
    )
    service.sockets[0]?.write(ok('hi'))
    await user.hears('hi')
  })

  it('100-continue and its answer', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('\r\n\r\n')) socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      else if (heard.endsWith('body')) socket.write(ok('hi'))
    })
    publish(service)
    using user = await RawUser.say(vhost.port, post('Content-Length: 4\r\nExpect: 100-continue\r\n'))
    await user.hears('HTTP/1.1 100 Continue\r\n\r\n')
    expect(service.heard[0]).toContain('Expect: 100-continue\r\n')
    user.say('body')
    await user.hears('hi')
  })

  it('a refusal in place of 100-continue', async () => {
    await using service = await Service.start((socket) => {
      socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
    })
    publish(service)
    using user = await RawUser.say(vhost.port, post('Content-Length: 4\r\nExpect: 100-continue\r\n'))
    expect(await user.hears('\r\n\r\n')).toMatch(/^HTTP\/1\.1 413 Too Large\r\n/)
  })

  it('100-continue by itself when the backend says nothing', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.endsWith('body')) socket.write(ok('hi'))
    })
    publish(service)
    using user = await RawUser.say(vhost.port, post('Content-Length: 4\r\nExpect: 100-continue\r\n'))
    await until(() => service.heard[0]?.endsWith('\r\n\r\n') === true)
    expect(user.heard).toBe('')
    clock.advance(1000)
    await user.hears('HTTP/1.1 100 Continue\r\n\r\n')
    user.say('body')
    await user.hears('hi')
  })

  it('much in both directions, waiting for who takes it slowly', async () => {
    const server = createServer((request, response) => request.pipe(response))
    await using service = await Service.of(server)
    publish(service)
    const size = 40_000_000
    using user = await RawUser.say(vhost.port, post(`Content-Length: ${size}\r\n`))
    user.socket.removeAllListeners('data').pause()
    const block = Buffer.alloc(1_000_000, 'abc')
    let sent = 0
    const send = (): void => {
      while (sent < size) {
        sent += block.length
        if (!user.socket.write(block)) return
      }
    }
    user.socket.on('drain', send)
    send()
    // The user reads nothing: after a while the way is full, and nobody has taken all of it.
    let before = -1
    while (before !== sent) {
      before = sent
      for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(sent).toBeLessThan(size)
    let heard = 0
    user.socket.on('data', (bytes) => (heard += bytes.length))
    user.socket.resume()
    await until(() => heard > size)
  })

  it('requests that come all at once one after another', async () => {
    let waiting = 0
    let most = 0
    const server = createServer((request, response) => {
      most = Math.max(most, ++waiting)
      setImmediate(() => {
        waiting--
        response.end(request.url)
      })
    })
    await using service = await Service.of(server)
    publish(service)
    const texts = [1, 2, 3, 4, 5].map((each) => get(`/${each}`, 'a'))
    using user = await RawUser.say(vhost.port, texts.join(''))
    await user.hears(/\/1[^]*\/2[^]*\/3[^]*\/4[^]*\/5/)
    expect(most).toBe(1)
    using flood = await RawUser.say(vhost.port, get('/1', 'a').repeat(50))
    await flood.ends()
  })
})

describe('HttpVhost notices', () => {
  it('that the user has gone, and lets go of the backend', async () => {
    await using service = await Service.start(() => undefined)
    publish(service)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    await until(() => service.heard[0]?.endsWith('\r\n\r\n') === true)
    user.socket.destroy()
    await until(() => service.sockets[0]?.readableEnded === true)
    expect(vhost.counts.answers['5xx']).toBe(0)
  })

  it('the same within a body of either side', async () => {
    await using service = await Service.start((socket, heard) => {
      if (heard.includes('GET')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\npart')
    })
    publish(service)
    using reader = await RawUser.say(vhost.port, get('/', 'a'))
    await reader.hears('part')
    reader.socket.destroy()
    await until(() => service.sockets[0]?.readableEnded === true)
    using writer = await RawUser.say(vhost.port, post('Content-Length: 500\r\n', 'part'))
    await until(() => service.heard[1]?.endsWith('part') === true)
    writer.socket.destroy()
    await until(() => service.sockets[1]?.readableEnded === true || service.sockets[1]?.destroyed === true)
  })

  it('that a body breaks off, and breaks off too', async () => {
    await using service = await Service.start((socket) => {
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\npart')
    })
    publish(service)
    using user = await RawUser.say(vhost.port, get('/', 'a'))
    expect(await user.ends()).toMatch(/part$/)
    await until(() => vhost.counts.badGateway === 1)
  })

  it('an answer before the request is complete, and takes the rest', async () => {
    await using service = await Service.start((socket) => socket.write(ok('enough')))
    publish(service)
    using user = await RawUser.say(vhost.port, post('Content-Length: 8\r\n', 'part'))
    await user.hears('enough')
    await until(() => service.sockets[0]?.readableEnded === true)
    user.say(`rest${get('/', 'none')}`)
    await user.hears('404 Not Found')
  })

  it('a user who never ends such a request', async () => {
    await using service = await Service.start((socket) => socket.write(ok('enough')))
    publish(service)
    using user = await RawUser.say(vhost.port, post('Content-Length: 8\r\n', 'part'))
    await user.hears('enough')
    await until(() => clock.dueInMs === 5000)
    clock.advance(5000)
    await user.ends()
  })
})
