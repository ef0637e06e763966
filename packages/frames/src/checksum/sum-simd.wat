;; The Internet sum (RFC 1071) with 128-bit vectors, over memory that JavaScript shares, and copies within that memory.
;;
;; Words are summed as little-endian 32-bit numbers, which a vector unit reads as they lie. One's complement sums do not
;; care: adding 32-bit words and folding equals adding 16-bit words, and swapping the bytes of all words swaps those of the
;; sum (RFC 1071 2, B). JavaScript, which inlines better for a few integers, folds the result to 16 bits and swaps it.
;;
;; scripts/assemble-sum-simd.ts turns this file into sum-simd.generated.ts; a test compares the two.
(module
  (import "netkit" "memory" (memory 1))

  ;; Sums `length` bytes from address `at`. Returns a u32, 0 only if all bytes are zero.
  (func (export "sum") (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local $sum i64)
    (local $v v128)
    ;; Two 64-bit lanes each: no length can overflow them.
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)

    (local.set $end (i32.add (local.get $at) (local.get $length)))

    ;; 64 bytes at a time, in four independent chains.
    (block $vectors_done
      (loop $vectors
        (br_if $vectors_done (i32.gt_u (i32.add (local.get $at) (i32.const 64)) (local.get $end)))
        (local.set $v (v128.load align=1 (local.get $at)))
        (local.set $a (i64x2.add (local.get $a) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $b (i64x2.add (local.get $b) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=16 align=1 (local.get $at)))
        (local.set $c (i64x2.add (local.get $c) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $d (i64x2.add (local.get $d) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=32 align=1 (local.get $at)))
        (local.set $a (i64x2.add (local.get $a) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $b (i64x2.add (local.get $b) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=48 align=1 (local.get $at)))
        (local.set $c (i64x2.add (local.get $c) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $d (i64x2.add (local.get $d) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br $vectors)))

    (local.set $a
      (i64x2.add
        (i64x2.add (local.get $a) (local.get $b))
        (i64x2.add (local.get $c) (local.get $d))))
    (local.set $sum
      (i64.add (i64x2.extract_lane 0 (local.get $a)) (i64x2.extract_lane 1 (local.get $a))))

    ;; The rest: 32-bit words, a 16-bit word, a byte (the low half of a little-endian word).
    (block $words_done
      (loop $words
        (br_if $words_done (i32.gt_u (i32.add (local.get $at) (i32.const 4)) (local.get $end)))
        (local.set $sum (i64.add (local.get $sum) (i64.load32_u align=1 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $words)))
    (if (i32.le_u (i32.add (local.get $at) (i32.const 2)) (local.get $end))
      (then
        (local.set $sum (i64.add (local.get $sum) (i64.load16_u align=1 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))))
    (if (i32.lt_u (local.get $at) (local.get $end))
      (then
        (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))))

    ;; 64 to 33 to 32 bits: carries are added back.
    (i32.wrap_i64 (call $fold (call $fold (local.get $sum)))))

  ;; Copies `length` bytes from address `at` to address `to` and sums them on the way: they pass the cache once. The two ranges
  ;; do not overlap.
  (func (export "copySum") (param $to i32) (param $at i32) (param $length i32) (result i32)
    (local $end i32)
    (local $sum i64)
    (local $v v128)
    ;; Two 64-bit lanes each: no length can overflow them.
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)

    (local.set $end (i32.add (local.get $at) (local.get $length)))

    ;; 64 bytes at a time, in four independent chains.
    (block $vectors_done
      (loop $vectors
        (br_if $vectors_done (i32.gt_u (i32.add (local.get $at) (i32.const 64)) (local.get $end)))
        (local.set $v (v128.load align=1 (local.get $at)))
        (v128.store align=1 (local.get $to) (local.get $v))
        (local.set $a (i64x2.add (local.get $a) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $b (i64x2.add (local.get $b) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=16 align=1 (local.get $at)))
        (v128.store offset=16 align=1 (local.get $to) (local.get $v))
        (local.set $c (i64x2.add (local.get $c) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $d (i64x2.add (local.get $d) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=32 align=1 (local.get $at)))
        (v128.store offset=32 align=1 (local.get $to) (local.get $v))
        (local.set $a (i64x2.add (local.get $a) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $b (i64x2.add (local.get $b) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $v (v128.load offset=48 align=1 (local.get $at)))
        (v128.store offset=48 align=1 (local.get $to) (local.get $v))
        (local.set $c (i64x2.add (local.get $c) (i64x2.extend_low_i32x4_u (local.get $v))))
        (local.set $d (i64x2.add (local.get $d) (i64x2.extend_high_i32x4_u (local.get $v))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (local.set $to (i32.add (local.get $to) (i32.const 64)))
        (br $vectors)))

    (local.set $a
      (i64x2.add
        (i64x2.add (local.get $a) (local.get $b))
        (i64x2.add (local.get $c) (local.get $d))))
    (local.set $sum
      (i64.add (i64x2.extract_lane 0 (local.get $a)) (i64x2.extract_lane 1 (local.get $a))))

    ;; The rest: 32-bit words, a 16-bit word, a byte (the low half of a little-endian word).
    (block $words_done
      (loop $words
        (br_if $words_done (i32.gt_u (i32.add (local.get $at) (i32.const 4)) (local.get $end)))
        (i32.store align=1 (local.get $to) (i32.load align=1 (local.get $at)))
        (local.set $sum (i64.add (local.get $sum) (i64.load32_u align=1 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (local.set $to (i32.add (local.get $to) (i32.const 4)))
        (br $words)))
    (if (i32.le_u (i32.add (local.get $at) (i32.const 2)) (local.get $end))
      (then
        (i32.store16 align=1 (local.get $to) (i32.load16_u align=1 (local.get $at)))
        (local.set $sum (i64.add (local.get $sum) (i64.load16_u align=1 (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))
        (local.set $to (i32.add (local.get $to) (i32.const 2)))))
    (if (i32.lt_u (local.get $at) (local.get $end))
      (then
        (i32.store8 (local.get $to) (i32.load8_u (local.get $at)))
        (local.set $sum (i64.add (local.get $sum) (i64.load8_u (local.get $at))))))

    ;; 64 to 33 to 32 bits: carries are added back.
    (i32.wrap_i64 (call $fold (call $fold (local.get $sum)))))

  ;; Copies `length` bytes. From JavaScript that takes a view per copy, which costs as much as the bytes of a small packet.
  (func (export "copy") (param $to i32) (param $at i32) (param $length i32)
    (memory.copy (local.get $to) (local.get $at) (local.get $length)))

  ;; The low half plus the high half.
  (func $fold (param $sum i64) (result i64)
    (i64.add
      (i64.and (local.get $sum) (i64.const 0xffffffff))
      (i64.shr_u (local.get $sum) (i64.const 32)))))
