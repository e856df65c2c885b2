"""The link types of captures: https://www.tcpdump.org/linktypes.html.

Every one is a function (data, offset, end) -> (EtherType, offset of what follows), as in link.py;
what it yields is IPV4, IPV6 or NOTHING.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from rover_source_pcap import wireless
from rover_source_pcap.link import (
    IPV4,
    IPV6,
    MPLS,
    NOTHING,
    PPP,
    PPPOE,
    Decode,
    Step,
    cisco_hdlc,
    ethernet,
    unwrap,
)

_U16 = struct.Struct(">H").unpack_from
_U32 = struct.Struct(">I").unpack_from
_NOT_IP = (NOTHING, 0)


def _null(data: bytes, offset: int, end: int) -> Step:
    """The address family of the host that captured: in its byte order, or (LOOP) the network's."""
    if offset + 4 > end:
        return _NOT_IP
    family = _U32(data, offset)[0]
    if family > 0xFFFF:
        family = struct.unpack_from("<I", data, offset)[0]
    return _FAMILIES.get(family, NOTHING), offset + 4


_FAMILIES = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}
"""AF_INET is 2 everywhere; AF_INET6 on Linux, NetBSD and OpenBSD, FreeBSD, macOS."""


def _raw(data: bytes, offset: int, end: int) -> Step:
    if offset >= end:
        return _NOT_IP
    version = data[offset] >> 4
    return (IPV4 if version == 4 else IPV6 if version == 6 else NOTHING), offset


def _cooked(data: bytes, offset: int, end: int) -> Step:
    """LINKTYPE_LINUX_SLL."""
    return unwrap(_U16(data, offset + 14)[0], data, offset + 16, end) if offset + 16 <= end else _NOT_IP


def _cooked2(data: bytes, offset: int, end: int) -> Step:
    """LINKTYPE_LINUX_SLL2."""
    return unwrap(_U16(data, offset)[0], data, offset + 20, end) if offset + 20 <= end else _NOT_IP


def _nflog(data: bytes, offset: int, end: int) -> Step:
    """LINKTYPE_NFLOG: a header, then typed values in the byte order of the host that captured,
    one of which is the packet."""
    for order in "<", ">":
        value = struct.Struct(order + "HH").unpack_from
        at = offset + 4
        while at + 4 <= end:
            length, kind = value(data, at)
            if kind & 0x7FFF == _NFULA_PAYLOAD:
                return _raw(data, at + 4, end)
            if length < 4:
                break
            at += length + 3 & ~3
    return _NOT_IP


_NFULA_PAYLOAD = 9  # linux/netfilter/nfnetlink_log.h


def _framed_ppp(data: bytes, offset: int, end: int) -> Step:
    return unwrap(PPP, data, offset, end)


def _framed_cisco_hdlc(data: bytes, offset: int, end: int) -> Step:
    kind, offset = cisco_hdlc(data, offset, end)
    return unwrap(kind, data, offset, end)


def _framed_pppoe(data: bytes, offset: int, end: int) -> Step:
    return unwrap(PPPOE, data, offset, end)


def _mpls(data: bytes, offset: int, end: int) -> Step:
    return unwrap(MPLS, data, offset, end)


def _ppi(data: bytes, offset: int, end: int) -> Step:
    """Per-Packet Information (CACE Technologies, PPI header format 1.0.10): its length, and the link
    type of the packet, which it may not be itself."""
    if offset + 8 > end:
        return _NOT_IP
    length, link_type = struct.unpack_from("<HI", data, offset + 2)
    decode = LINK_TYPES.get(link_type, _ppi)
    return _NOT_IP if decode is _ppi or length < 8 else decode(data, offset + length, end)


LINK_TYPES: Mapping[int, Decode] = {
    0: _null,
    1: ethernet,
    9: _framed_ppp,
    12: _raw,  # DLT_RAW itself, as some writers store it: most systems' number, and OpenBSD's
    14: _raw,
    50: _framed_ppp,
    51: _framed_pppoe,
    101: _raw,
    104: _framed_cisco_hdlc,
    105: wireless.ieee802_11,
    108: _null,
    113: _cooked,
    119: wireless.prism,
    127: wireless.radiotap,
    163: wireless.avs,
    192: _ppi,
    219: _mpls,
    228: _raw,
    229: _raw,
    239: _nflog,
    276: _cooked2,
}
"""By number: those we read."""


def describe(link_type: int) -> str:
    """The number, with the name in the table that keeps them: `127 (IEEE802_11_RADIOTAP)`."""
    for each in _NAMES.split():
        number, _, name = each.partition(":")
        if number == str(link_type):
            return f"{number} ({name})"
    return str(link_type)


_NAMES = """
0:NULL 1:ETHERNET 2:EXP_ETHERNET 3:AX25 4:PRONET 5:CHAOS 6:IEEE802_5 7:ARCNET_BSD 8:SLIP 9:PPP 10:FDDI
50:PPP_HDLC 51:PPP_ETHER 99:SYMANTEC_FIREWALL 100:ATM_RFC1483 101:RAW 102:SLIP_BSDOS 103:PPP_BSDOS
104:C_HDLC 105:IEEE802_11 106:ATM_CLIP 107:FRELAY 108:LOOP 109:ENC 110:LANE8023 111:HIPPI 112:HDLC
113:LINUX_SLL 114:LTALK 115:ECONET 116:IPFILTER 117:PFLOG 118:CISCO_IOS 119:IEEE802_11_PRISM
120:IEEE802_11_AIRONET 121:HHDLC 122:IP_OVER_FC 123:SUNATM 124:RIO 125:PCI_EXP 126:AURORA
127:IEEE802_11_RADIOTAP 128:TZSP 129:ARCNET_LINUX 130:JUNIPER_MLPPP 131:JUNIPER_MLFR 132:JUNIPER_ES
133:JUNIPER_GGSN 134:JUNIPER_MFR 135:JUNIPER_ATM2 136:JUNIPER_SERVICES 137:JUNIPER_ATM1
138:APPLE_IP_OVER_IEEE1394 139:MTP2_WITH_PHDR 140:MTP2 141:MTP3 142:SCCP 143:DOCSIS 144:LINUX_IRDA
145:IBM_SP 146:IBM_SN 147:USER0 148:USER1 149:USER2 150:USER3 151:USER4 152:USER5 153:USER6 154:USER7
155:USER8 156:USER9 157:USER10 158:USER11 159:USER12 160:USER13 161:USER14 162:USER15 163:IEEE802_11_AVS
164:JUNIPER_MONITOR 165:BACNET_MS_TP 166:PPP_PPPD 167:JUNIPER_PPPOE 168:JUNIPER_PPPOE_ATM 169:GPRS_LLC
170:GPF_T 171:GPF_F 172:GCOM_T1E1 173:GCOM_SERIAL 174:JUNIPER_PIC_PEER 175:ERF_ETH 176:ERF_POS
177:LINUX_LAPD 178:JUNIPER_ETHER 179:JUNIPER_PPP 180:JUNIPER_FRELAY 181:JUNIPER_CHDLC 182:MFR 183:JUNIPER_VP
184:A429 185:A653_ICM 186:USB_FREEBSD 187:BLUETOOTH_HCI_H4 188:IEEE802_16_MAC_CPS 189:USB_LINUX 190:CAN20B
191:IEEE802_15_4_LINUX 192:PPI 193:IEEE802_16_MAC_CPS_RADIO 194:JUNIPER_ISM 195:IEEE802_15_4_WITHFCS
196:SITA 197:ERF 198:RAIF1 199:IPMB_KONTRON 200:JUNIPER_ST 201:BLUETOOTH_HCI_H4_WITH_PHDR 202:AX25_KISS
203:LAPD 204:PPP_WITH_DIR 205:C_HDLC_WITH_DIR 206:FRELAY_WITH_DIR 207:LAPB_WITH_DIR 209:IPMB_LINUX
210:FLEXRAY 211:MOST 212:LIN 213:X2E_SERIAL 214:X2E_XORAYA 215:IEEE802_15_4_NONASK_PHY 216:LINUX_EVDEV
217:GSMTAP_UM 218:GSMTAP_ABIS 219:MPLS 220:USB_LINUX_MMAPPED 221:DECT 222:AOS 223:WIHART 224:FC_2
225:FC_2_WITH_FRAME_DELIMS 226:IPNET 227:CAN_SOCKETCAN 228:IPV4 229:IPV6 230:IEEE802_15_4_NOFCS 231:DBUS
232:JUNIPER_VS 233:JUNIPER_SRX_E2E 234:JUNIPER_FIBRECHANNEL 235:DVB_CI 236:MUX27010 237:STANAG_5066_D_PDU
238:JUNIPER_ATM_CEMIC 239:NFLOG 240:NETANALYZER 241:NETANALYZER_TRANSPARENT 242:IPOIB 243:MPEG_2_TS 244:NG40
245:NFC_LLCP 246:PFSYNC 247:INFINIBAND 248:SCTP 249:USBPCAP 250:RTAC_SERIAL 251:BLUETOOTH_LE_LL
252:WIRESHARK_UPPER_PDU 253:NETLINK 254:BLUETOOTH_LINUX_MONITOR 255:BLUETOOTH_BREDR_BB
256:BLUETOOTH_LE_LL_WITH_PHDR 257:PROFIBUS_DL 258:PKTAP 259:EPON 260:IPMI_HPM_2 261:ZWAVE_R1_R2 262:ZWAVE_R3
263:WATTSTOPPER_DLM 264:ISO_14443 265:RDS 266:USB_DARWIN 267:OPENFLOW 268:SDLC 269:TI_LLN_SNIFFER 271:VSOCK
272:NORDIC_BLE 273:DOCSIS31_XRA31 274:ETHERNET_MPACKET 275:DISPLAYPORT_AUX 276:LINUX_SLL2 278:OPENVIZSLA
279:EBHSCR 280:VPP_DISPATCH 281:DSA_TAG_BRCM 282:DSA_TAG_BRCM_PREPEND 283:IEEE802_15_4_TAP 284:DSA_TAG_DSA
285:DSA_TAG_EDSA 286:ELEE 287:Z_WAVE_SERIAL 288:USB_2_0 289:ATSC_ALP
"""
"""As in the table, without LINKTYPE_."""
