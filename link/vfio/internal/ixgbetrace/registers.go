package ixgbetrace

import (
	"fmt"
	"strconv"
	"strings"
)

// span is a register, or a table of registers of one kind.
type span struct {
	first, count, stride uint32
	name                 string
}

// spans are the registers by the datasheet's names (82599, 8.2.3). Some stand at
// two places: the old one is that of the 82598.
var spans = []span{
	{0x00000, 1, 4, "CTRL"}, {0x00004, 1, 4, "CTRL"}, {0x00008, 1, 4, "STATUS"}, {0x00018, 1, 4, "CTRL_EXT"},
	{0x00020, 1, 4, "ESDP"}, {0x00028, 1, 4, "I2CCTL"}, {0x00048, 1, 4, "TCPTIMER"}, {0x00200, 1, 4, "LEDCTL"},
	{0x10010, 1, 4, "EEC"}, {0x10014, 1, 4, "EERD"}, {0x1001C, 1, 4, "FLA"}, {0x10110, 1, 4, "EEMNGCTL"},
	{0x10114, 1, 4, "EEMNGDATA"}, {0x10140, 1, 4, "SWSM"}, {0x10148, 1, 4, "FWSM"}, {0x10150, 1, 4, "FACTPS"},
	{0x10160, 1, 4, "SW_FW_SYNC"}, {0x10200, 1, 4, "FLOP"}, {0x1013C, 1, 4, "FLASHOP"},

	{0x00800, 1, 4, "EICR"}, {0x00808, 1, 4, "EICS"}, {0x00810, 1, 4, "EIAC"}, {0x00820, 24, 4, "EITR"},
	{0x12300, 104, 4, "EITR+24"}, {0x00880, 1, 4, "EIMS"}, {0x00888, 1, 4, "EIMC"}, {0x00890, 1, 4, "EIAM"},
	{0x00894, 1, 4, "EITRSEL"}, {0x00898, 1, 4, "GPIE"}, {0x00900, 64, 4, "IVAR"}, {0x00A00, 1, 4, "IVAR_MISC"},
	{0x00A90, 2, 4, "EICS_EX"}, {0x00AA0, 2, 4, "EIMS_EX"}, {0x00AB0, 2, 4, "EIMC_EX"}, {0x00AD0, 2, 4, "EIAM_EX"},
	{0x11068, 1, 4, "PBACL"}, {0x110C0, 8, 4, "PBACL+1"},

	{0x01000, 64, 0x40, "RDBAL"}, {0x01004, 64, 0x40, "RDBAH"}, {0x01008, 64, 0x40, "RDLEN"}, {0x0100C, 64, 0x40, "DCA_RXCTRL"},
	{0x01010, 64, 0x40, "RDH"}, {0x01014, 64, 0x40, "SRRCTL"}, {0x01018, 64, 0x40, "RDT"}, {0x01028, 64, 0x40, "RXDCTL"},
	{0x0102C, 64, 0x40, "RSCCTL"},
	{0x0D000, 64, 0x40, "RDBAL+64"}, {0x0D004, 64, 0x40, "RDBAH+64"}, {0x0D008, 64, 0x40, "RDLEN+64"}, {0x0D00C, 64, 0x40, "DCA_RXCTRL+64"},
	{0x0D010, 64, 0x40, "RDH+64"}, {0x0D014, 64, 0x40, "SRRCTL+64"}, {0x0D018, 64, 0x40, "RDT+64"}, {0x0D028, 64, 0x40, "RXDCTL+64"},
	{0x0D02C, 64, 0x40, "RSCCTL+64"},
	{0x02100, 16, 4, "SRRCTL"}, {0x02200, 16, 4, "DCA_RXCTRL"},
	{0x06000, 128, 0x40, "TDBAL"}, {0x06004, 128, 0x40, "TDBAH"}, {0x06008, 128, 0x40, "TDLEN"}, {0x0600C, 128, 0x40, "DCA_TXCTRL"},
	{0x06010, 128, 0x40, "TDH"}, {0x06018, 128, 0x40, "TDT"}, {0x06028, 128, 0x40, "TXDCTL"}, {0x06038, 128, 0x40, "TDWBAL"},
	{0x0603C, 128, 0x40, "TDWBAH"}, {0x08600, 32, 4, "TQSM"}, {0x02300, 32, 4, "RQSMR"},

	{0x02F00, 1, 4, "RDRXCTL"}, {0x03000, 1, 4, "RXCTRL"}, {0x03C00, 8, 4, "RXPBSIZE"}, {0x0CC00, 8, 4, "TXPBSIZE"},
	{0x04950, 8, 4, "TXPBTHRESH"}, {0x04A80, 1, 4, "DMATXCTL"}, {0x08100, 1, 4, "DTXMXSZRQ"}, {0x08108, 1, 4, "DTXTCPFLGL"},
	{0x0810C, 1, 4, "DTXTCPFLGH"}, {0x08120, 1, 4, "MTQC"}, {0x04900, 1, 4, "RTTDCS"}, {0x02430, 1, 4, "RTRPCS"},
	{0x0CD00, 1, 4, "RTTPCS"}, {0x03020, 1, 4, "RTRUP2TC"}, {0x03028, 1, 4, "RSCDBU"}, {0x0C800, 1, 4, "RTTUP2TC"}, {0x02140, 8, 4, "RTRPT4C"},
	{0x0CD20, 8, 4, "RTTPT2C"}, {0x04910, 8, 4, "RTTDT2C"}, {0x04904, 1, 4, "RTTDQSEL"}, {0x04908, 1, 4, "RTTDT1C"},
	{0x0490C, 1, 4, "RTTDTECC"}, {0x04984, 1, 4, "RTTBCNRC"}, {0x04980, 1, 4, "RTTBCNRM"},
	{0x0C7A4, 1, 4, "RTTBCNCR"}, {0x08B00, 1, 4, "RTTBCNTG"},

	{0x05000, 1, 4, "RXCSUM"}, {0x05008, 1, 4, "RFCTL"}, {0x05080, 1, 4, "FCTRL"}, {0x05088, 1, 4, "VLNCTRL"},
	{0x05090, 1, 4, "MCSTCTRL"}, {0x05128, 8, 4, "ETQF"}, {0x0EC00, 8, 4, "ETQS"}, {0x05200, 128, 4, "MTA"},
	{0x05400, 16, 8, "RAL"}, {0x05404, 16, 8, "RAH"}, {0x0A200, 128, 8, "RAL"}, {0x0A204, 128, 8, "RAH"},
	{0x0A000, 128, 4, "VFTA"}, {0x0A600, 256, 4, "MPSAR"}, {0x05480, 32, 4, "PSRTYPE"}, {0x0EA00, 64, 4, "PSRTYPE"},
	{0x05818, 1, 4, "MRQC"}, {0x05C00, 32, 4, "RETA"}, {0x05C80, 10, 4, "RSSRK"}, {0x050B0, 1, 4, "VT_CTL"},
	{0x051B0, 1, 4, "VTCTL"}, {0x0F400, 128, 4, "PFUTA"}, {0x15F00, 1, 4, "FWSTS"}, {0x0F000, 64, 4, "VMOLR"}, {0x0F100, 64, 4, "VLVF"}, {0x0F200, 128, 4, "VLVFB"},
	{0x051E0, 2, 4, "VFRE"}, {0x08110, 2, 4, "VFTE"}, {0x08220, 1, 4, "PFDTXGSWC"}, {0x08200, 8, 4, "PFVFSPOOF"},
	{0x0EE00, 1, 4, "FDIRCTRL"}, {0x0EE0C, 3, 4, "FDIRSIPv6"}, {0x0EE18, 1, 4, "FDIRIPSA"}, {0x0EE1C, 1, 4, "FDIRIPDA"},
	{0x0EE20, 1, 4, "FDIRPORT"}, {0x0EE24, 1, 4, "FDIRVLAN"}, {0x0EE28, 1, 4, "FDIRHASH"}, {0x0EE2C, 1, 4, "FDIRCMD"},
	{0x0EE38, 1, 4, "FDIRFREE"}, {0x0EE3C, 1, 4, "FDIRDIP4M"}, {0x0EE40, 1, 4, "FDIRSIP4M"}, {0x0EE44, 1, 4, "FDIRTCPM"},
	{0x0EE48, 1, 4, "FDIRUDPM"}, {0x0EE68, 1, 4, "FDIRHKEY"}, {0x0EE6C, 1, 4, "FDIRSKEY"}, {0x0EE70, 1, 4, "FDIRM"},
	{0x0EE74, 1, 4, "FDIRIP6M"}, {0x0E000, 128, 4, "FTQF"}, {0x0E200, 128, 4, "SAQF"}, {0x0E400, 128, 4, "DAQF"},
	{0x0E600, 128, 4, "SDPQF"}, {0x0E800, 128, 4, "L34T_IMIR"},

	{0x04200, 1, 4, "PCS1GCFIG"}, {0x04208, 1, 4, "PCS1GLCTL"}, {0x0420C, 1, 4, "PCS1GLSTA"}, {0x04218, 1, 4, "PCS1GANA"},
	{0x0421C, 1, 4, "PCS1GANLP"}, {0x04240, 1, 4, "HLREG0"}, {0x04244, 1, 4, "HLREG1"}, {0x04248, 1, 4, "PAP"},
	{0x04250, 1, 4, "APAE"}, {0x0425C, 1, 4, "MSCA"}, {0x04260, 1, 4, "MSRWD"}, {0x04264, 1, 4, "MLADD"},
	{0x04268, 1, 4, "MAXFRS"}, {0x04288, 1, 4, "PCSS1"}, {0x0428C, 1, 4, "PCSS2"}, {0x04294, 1, 4, "MFLCN"},
	{0x0429C, 1, 4, "MACC"}, {0x042A0, 1, 4, "AUTOC"}, {0x042A4, 1, 4, "LINKS"}, {0x042A8, 1, 4, "AUTOC2"},
	{0x042AC, 1, 4, "AUTOC3"}, {0x042B0, 1, 4, "ANLP1"}, {0x042B4, 1, 4, "ANLP2"}, {0x042D0, 1, 4, "MMNGC"},
	{0x0CCC0, 1, 4, "MACS"}, {0x04324, 1, 4, "LINKS2"}, {0x04800, 1, 4, "ATLASCTL"}, {0x14F00, 1, 4, "CORECTL"},
	{0x04330, 1, 4, "MAC_RX2TX_LPBK"},

	{0x03200, 4, 4, "FCTTV"}, {0x03008, 1, 4, "FCTTV"}, {0x03220, 8, 4, "FCRTL"}, {0x03260, 8, 4, "FCRTH"}, {0x032A0, 1, 4, "FCRTV"},
	{0x03D00, 1, 4, "FCCFG"},

	{0x05800, 1, 4, "WUC"}, {0x05808, 1, 4, "WUFC"}, {0x05810, 1, 4, "WUS"}, {0x05820, 1, 4, "MANC"}, {0x05838, 1, 4, "IPAV"},
	{0x15F58, 1, 4, "FWSM_MODE"}, {0x15800, 256, 4, "FLEX_MNG"}, {0x15F0C, 1, 4, "HICR"}, {0x15F10, 1, 4, "HSMC"},

	{0x08800, 1, 4, "SECTXCTRL"}, {0x08804, 1, 4, "SECTXSTAT"}, {0x08808, 1, 4, "SECTXBUFFAF"}, {0x08810, 1, 4, "SECTXMINIFG"},
	{0x08D00, 1, 4, "SECRXCTRL"}, {0x08D04, 1, 4, "SECRXSTAT"},

	{0x08900, 1, 4, "IPSTXIDX"}, {0x08904, 1, 4, "IPSTXSALT"}, {0x08908, 4, 4, "IPSTXKEY"}, {0x08E00, 1, 4, "IPSRXIDX"}, {0x08E04, 4, 4, "IPSRXIPADDR"},
	{0x08E14, 1, 4, "IPSRXSPI"}, {0x08E18, 1, 4, "IPSRXIPIDX"}, {0x08E1C, 4, 4, "IPSRXKEY"}, {0x08E2C, 1, 4, "IPSRXSALT"}, {0x08E30, 1, 4, "IPSRXMOD"},

	{0x05120, 1, 4, "RXMTRL"}, {0x05188, 1, 4, "TSYNCRXCTL"}, {0x051A0, 1, 4, "RXSATRL"}, {0x051A4, 1, 4, "RXSTMPH"}, {0x051A8, 1, 4, "RXSATRH"},
	{0x051E8, 1, 4, "RXSTMPL"}, {0x08C00, 1, 4, "TSYNCTXCTL"}, {0x08C04, 1, 4, "TXSTMPL"}, {0x08C08, 1, 4, "TXSTMPH"},
	{0x08C0C, 1, 4, "SYSTIML"}, {0x08C10, 1, 4, "SYSTIMH"}, {0x08C14, 1, 4, "TIMINCA"}, {0x08C18, 1, 4, "TIMADJL"},
	{0x08C1C, 1, 4, "TIMADJH"}, {0x08C20, 1, 4, "TSAUXC"},

	{0x11000, 1, 4, "GCR"}, {0x11010, 1, 4, "GSCL_1"}, {0x11014, 1, 4, "GSCL_2"}, {0x11030, 8, 4, "GSCN"}, {0x11050, 1, 4, "GCR_EXT"},
	{0x11070, 1, 4, "DCA_ID"}, {0x11074, 1, 4, "DCA_CTRL"}, {0x110B0, 1, 4, "PCIE_DIAG"}, {0x11144, 1, 4, "MREVID"},
	{0x05100, 1, 4, "FCRXCTRL"}, {0x08DFC, 1, 4, "REOFF"}, {0x05108, 1, 4, "FCRXCTRL"}, {0x05158, 1, 4, "FCFLT"},
	{0x0ED00, 1, 4, "FCRECTL"}, {0x0ED10, 8, 4, "FCRETA"},
}

// counters are the statistics, cleared by a read.
var counters = []span{
	{0x01030, 16, 0x40, "QPRC"}, {0x01034, 16, 0x40, "QBRC_L"}, {0x01038, 16, 0x40, "QBRC_H"}, {0x01430, 16, 0x40, "QPRDC"}, {0x06030, 16, 0x40, "QPTC_OLD"},
	{0x08680, 16, 4, "QPTC"}, {0x08700, 16, 8, "QBTC_L"}, {0x08704, 16, 8, "QBTC_H"}, {0x03F20, 16, 4, "PXOFFTXC"}, {0x03F60, 8, 4, "PXOFFTXC_OLD"}, {0x03240, 8, 4, "PXON2OFFCNT"},
	{0x03F00, 8, 4, "PXONTXC"}, {0x03FA0, 8, 4, "RXMPC"}, {0x03F90, 2, 4, "TXOFF"}, {0x04000, 128, 4, "STATISTICS"},
	{0x041A4, 2, 4, "LXRXC"}, {0x0CF40, 32, 4, "PXRXC"}, {0x05118, 1, 4, "FCCRC"}, {0x0241C, 1, 4, "FCOERPDC"}, {0x02424, 2, 4, "FCLAST"},
	{0x0EE50, 4, 4, "FDIRSTAT"}, {0x08784, 2, 4, "FCOEPTC"}, {0x0EE58, 1, 4, "FDIRFSTAT"}, {0x03FF8, 2, 4, "MNG"}, {0x05BA0, 1, 4, "B2"},
}

// find returns the span that an offset lies in, and the index there.
func find(table []span, offset uint32) (*span, int) {
	for i := range table {
		s := &table[i]
		if d := offset - s.first; offset >= s.first && d%s.stride == 0 && d/s.stride < s.count {
			return s, int(d / s.stride)
		}
	}
	return nil, 0
}

// name returns what a register is called, and its index in its table, -1 if it
// is alone. An offset without a name is its own.
func name(offset uint32) (string, int) {
	if s, i := find(spans, offset); s != nil {
		if s.count == 1 {
			return s.name, -1
		}
		// The second part of a table stands under the name of the first.
		if base, more, ok := strings.Cut(s.name, "+"); ok {
			if n, err := strconv.Atoi(more); err == nil {
				return base, i + n
			}
		}
		return s.name, i
	}
	if s, _ := find(counters, offset); s != nil {
		return counterName, -1
	}
	return fmt.Sprintf("0x%05x", offset), -1
}

// counterName stands for all statistics.
const counterName = "counters"
