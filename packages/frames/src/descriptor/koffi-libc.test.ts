import { expect, test, vi } from 'vitest'

test('without koffi the error says what needs it and how to get it; installed later, it is found', async () => {
  vi.doMock('koffi', () => {
    throw new Error('Cannot find package koffi')
  })
  const { loadLibc } = await import('./koffi-libc.ts')
  await expect(loadLibc('A TAP')).rejects.toMatchObject({
    code: 'NETKIT_KOFFI_MISSING',
    message: expect.stringMatching(/^A TAP needs the package koffi.*npm install koffi$/) as string,
  })
  vi.doUnmock('koffi')
  await expect(loadLibc('A TAP')).resolves.toHaveProperty('poll')
})
